import io
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from spoold import log as log_module
from spoold.log import Logger, configure_logging, get_logger, register_secrets

SECRET = "s3cr3t-0123456789"


@pytest.fixture(autouse=True)
def _restored_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(log_module._Redactor, "secrets", ())
    monkeypatch.setattr(Logger, "threshold", logging.INFO)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_that_starts_with_time_level_and_event(stream: io.StringIO) -> None:
    get_logger("delivery").info("batch flushed successfully", lane="mixpanel", event_count=50)

    (line,) = lines(stream)
    assert list(line)[:3] == ["timestamp", "level", "event"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {
        "level": "info",
        "event": "batch flushed successfully",
        "logger": "delivery",
        "lane": "mixpanel",
        "event_count": 50,
    }


def test_a_bound_logger_adds_its_fields_to_each_event(stream: io.StringIO) -> None:
    get_logger("delivery").bind(lane="mixpanel").warning("lane down")

    assert lines(stream)[0]["lane"] == "mixpanel"
    assert lines(stream)[0]["logger"] == "delivery"


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_only_events_from_the_level_up_are_written(level: log_module.Level, heard: list[str]) -> None:
    stream = io.StringIO()
    log = get_logger("x")
    configure_logging(level, "json", stream)

    log.debug("one")
    log.info("two")
    log.warning("three")
    log.error("four")

    assert [line["level"] for line in lines(stream)] == heard


def test_a_new_configuration_reaches_loggers_that_exist(stream: io.StringIO) -> None:
    log = get_logger("x")
    log.info("before")
    later = io.StringIO()
    configure_logging("debug", "json", later)

    log.debug("after")

    assert [line["event"] for line in lines(stream)] == ["before"]
    assert [line["event"] for line in lines(later)] == ["after"]


@pytest.mark.parametrize("key", ["api_key", "apikey", "Authorization", "token", "webhook_secret", "password"])
def test_a_key_that_looks_secret_loses_its_value(stream: io.StringIO, key: str) -> None:
    get_logger("x").info("request", headers={key: "anything"}, **{key: ["anything"]})

    assert "anything" not in stream.getvalue()
    assert lines(stream)[0][key] == "********"


@pytest.mark.parametrize(
    "value",
    [
        f"before {SECRET} after",
        [{"deep": (f"{SECRET}",)}],
        {SECRET: 1},
        {SECRET},
        SECRET.encode(),
        ValueError(SECRET),
        Path("/") / SECRET,
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_registered_secret_is_replaced_wherever_it_stands(log_format: Any, value: object) -> None:
    stream = io.StringIO()
    configure_logging("info", log_format, stream)
    register_secrets([SECRET])

    get_logger("x").info("note", field=value)

    assert SECRET not in stream.getvalue()
    assert "********" in stream.getvalue()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_registered_secret_is_replaced_in_tracebacks(log_format: Any) -> None:
    stream = io.StringIO()
    configure_logging("info", log_format, stream)
    register_secrets([SECRET])

    try:
        raise RuntimeError(f"401 for {SECRET}")
    except RuntimeError:
        get_logger("x").exception("failed")

    assert "RuntimeError: 401 for ********" in stream.getvalue()
    assert SECRET not in stream.getvalue()


def test_a_secret_that_begins_with_another_is_replaced_whole(stream: io.StringIO) -> None:
    register_secrets(["abcdef"])
    register_secrets(["abcdefghi"])

    get_logger("x").info("abcdefghi")

    assert lines(stream)[0]["event"] == "********"


def test_secrets_too_short_to_be_one_leave_the_words_alone(stream: io.StringIO) -> None:
    register_secrets(["", "k", "batch"])

    get_logger("x").info("flushing batch")

    assert lines(stream)[0]["event"] == "flushing batch"


def test_libraries_are_heard_from_warning_up_and_redacted(stream: io.StringIO) -> None:
    register_secrets([SECRET])
    logging.getLogger("urllib3").info("quiet")

    logging.getLogger("urllib3").warning("retrying %s", f"https://x/?key={SECRET}")

    (line,) = lines(stream)
    assert (line["level"], line["logger"]) == ("warning", "urllib3")
    assert line["event"] == "retrying https://x/?key=********"


def test_a_library_traceback_is_redacted(stream: io.StringIO) -> None:
    register_secrets([SECRET])

    try:
        raise RuntimeError(SECRET)
    except RuntimeError:
        logging.getLogger("grpc").exception("handler failed")

    assert "RuntimeError: ********" in lines(stream)[0]["exception"]


def test_console_lines_have_no_colours_off_a_terminal() -> None:
    stream = io.StringIO()
    configure_logging("info", "console", stream)

    get_logger("x").info("listening", address="127.0.0.1:50054")

    assert "\x1b" not in stream.getvalue()
    assert "listening" in stream.getvalue()
    assert "address=127.0.0.1:50054" in stream.getvalue()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), 2**80, "\udcff", {1: 2}])
def test_no_value_makes_a_line_that_is_not_json(stream: io.StringIO, value: object) -> None:
    get_logger("x").info("odd", value=value)

    def refuse(text: str) -> None:
        raise AssertionError(text)

    assert json.loads(stream.getvalue(), parse_constant=refuse)["event"] == "odd"


def test_a_full_disk_under_the_log_raises_nothing() -> None:
    with Path("/dev/full").open("w") as stream:
        configure_logging("info", "json", stream)
        get_logger("x").info("lost")
        with pytest.raises(OSError, match="No space left"):
            stream.flush()
        # What is left in the buffer has to go somewhere, or closing fails.
        with Path("/dev/null").open("w") as sink:
            os.dup2(sink.fileno(), stream.fileno())


def test_lines_of_many_threads_stay_whole(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        configure_logging("info", "json", stream)
        threads = [threading.Thread(target=_log_much, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    written = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert len(written) == 8 * 100


def _log_much(number: int) -> None:
    for _ in range(50):
        get_logger("x").info("line", number=number, filler="x" * 500)
        logging.getLogger("library").warning("line %d", number)


def test_a_filtered_event_reaches_no_processor(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structlog, "get_logger", sys.exit)

    get_logger("x").debug("event queued", queue_size=1)

    assert stream.getvalue() == ""
