import os

from model.processes import fresh_processes


def test_a_fresh_process_imports_nothing_from_the_current_folder(tmp_path, monkeypatch):
    for name in ("model.py", "pickle.py", "socket.py"):
        (tmp_path / name).write_text("raise SystemExit('imported from the current folder')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    with fresh_processes(1) as pool:
        assert pool.submit(os.getpid).result(timeout=60) != os.getpid()
