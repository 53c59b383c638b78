"""``python -m tests.monitoring``: the tests of the dashboard and the alert rules, with nothing left out.

Where a program is missing, the tests by themselves are skipped and say so; this fails.
"""

import sys
from pathlib import Path

import pytest

from tests.monitoring.prometheus import find_missing


def main() -> int:
    missing = find_missing()
    if missing is not None:
        print(f"monitoring can't be tested here: {missing}", file=sys.stderr)
        return 1
    return pytest.main(["-q", str(Path(__file__).parent)])


if __name__ == "__main__":
    sys.exit(main())
