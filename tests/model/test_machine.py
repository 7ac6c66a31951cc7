import subprocess

from model.machine import commit, describe_machine


def test_versions_and_commit_are_named():
    found = describe_machine()
    assert {"processor", "cores", "commit", "torch", "openvino", "numpy", "scipy"} <= found.keys()
    assert found["cores"] >= 1


def test_there_is_no_commit_outside_a_checkout(tmp_path):
    assert commit(tmp_path) is None


def test_a_changed_checkout_is_called_dirty(tmp_path):
    def git(*arguments):
        identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    git("init", "-q")
    result = tmp_path / "bench" / "results" / "one.json"
    result.parent.mkdir(parents=True)
    for file in (tmp_path / "file", result):
        file.write_text("one")
        git("add", str(file))
    git("commit", "-qm", "first")
    clean = commit(tmp_path)
    assert len(clean) == 12
    result.write_text("two")
    assert commit(tmp_path) == clean
    (tmp_path / "file").write_text("two")
    assert commit(tmp_path) == f"{clean}-dirty"
