import logging
import os
import subprocess
import sys

from pipeline.progress import logs


def test_everything_goes_into_the_file_but_what_people_read(tmp_path, capfd):
    log = tmp_path / "logs" / "run.log"

    with logs.into_file(str(log)):
        subprocess.run([sys.executable, "-c", "import os; print('printed'); os.write(2, b'native')"], check=True)
        logging.getLogger("library").warning("logged")
        print("for people", file=logs.terminal())
    print("afterwards")

    written = log.read_text()
    assert "printed" in written and "native" in written and "WARNING library: logged" in written
    assert "for people" not in written and "afterwards" not in written
    shown = capfd.readouterr()
    assert shown.err == "for people\n" and shown.out == "afterwards\n"


def test_a_run_within_a_run_has_a_file_of_its_own_and_the_same_readers(tmp_path, capfd):
    outer, inner = tmp_path / "outer.log", tmp_path / "inner.log"

    with logs.into_file(str(outer)):
        with logs.into_file(str(inner)):
            os.write(1, b"within\n")
            print("for people", file=logs.terminal())
        os.write(2, b"without\n")

    assert inner.read_text() == "within\n"
    assert outer.read_text() == "without\n"
    assert capfd.readouterr().err == "for people\n"


def test_an_error_puts_the_streams_back(tmp_path, capfd):
    try:
        with logs.into_file(str(tmp_path / "run.log")):
            raise KeyError
    except KeyError:
        print("here again")

    assert capfd.readouterr().out == "here again\n"
