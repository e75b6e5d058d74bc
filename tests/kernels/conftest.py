"""`every_row` in a test's arguments runs it for every kernel this CPU and FASTCONV_ISA allow."""

from driver import ROWS


def pytest_generate_tests(metafunc):
    if "every_row" in metafunc.fixturenames:
        metafunc.parametrize("every_row", ROWS)
