"""What the daemon exports."""

import pytest

from tests.monitoring.scene import Page, read_page, scene


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The metrics of a real daemon in which some things went well and others wrong."""
    with scene(tmp_path_factory.mktemp("scene")) as playing:
        playing.go_well()
        playing.go_wrong()
        return read_page(playing.scrape())
