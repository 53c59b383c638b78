"""The README's client, run as it is written."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.daemon_process import DaemonProcess

README = Path(__file__).parents[2] / "README.md"


def test_the_client_of_the_readme_works_as_written(tmp_path: Path) -> None:
    snippet = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert snippet is not None
    with DaemonProcess(tmp_path) as daemon:
        program = snippet[1].replace("127.0.0.1:50054", daemon.address)
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)

    assert run.returncode == 0, run.stderr


def test_the_configuration_of_the_readme_is_one(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", README.read_text(), re.DOTALL)
    assert example is not None
    key = tmp_path / "mixpanel.key"
    key.write_text("a-token-of-a-project\n")
    key.chmod(0o600)
    config = tmp_path / "spoold.toml"
    config.write_text(example[1].replace("/etc/spoold/mixpanel.key", str(key)))

    spoold = Path(sys.executable).with_name("spoold")
    run = subprocess.run(
        [spoold, "--config", config, "--check-config"], env={}, capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stderr
