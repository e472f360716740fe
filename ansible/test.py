#!/usr/bin/env python3
"""Builds the collection, installs it, and tests it with the real Ansible.

`tko-python/test.py` runs it, as `cargo xtask test` does. It uses the wheel that is installed in
target/python/venv, and installs ansible-core there with pip.

    python3 ansible/test.py [--install | --sanity] [PYTEST ARGUMENTS]

TKO_TEST_PROGRAM names a `tko` to test against; without it, the server runs in the test's process.
TKO_TEST_WITHOUT=ansible skips the tests. --install only installs ansible-core. --sanity
runs ansible-test and ansible-lint instead of the tests.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target")).resolve()
# Relative to the folder where this program was started.
PROGRAM = os.environ.get("TKO_TEST_PROGRAM")
BIN = TARGET / "python" / "venv" / "bin"
FOLDER = TARGET / "python" / "collections"
ANSIBLE = "ansible-core==2.19.14"
LINT = "ansible-lint==26.10.1"


def check(*command, **options):
    """Runs a command; ends the program if it fails."""
    print("$", *command, flush=True)
    code = subprocess.run([str(part) for part in command], check=False, **options).returncode
    if code != 0:
        sys.exit(code)


def install():
    """Builds and installs the collection below the target folder; returns the environment that finds it."""
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
    galaxy = BIN / "ansible-galaxy"
    check(galaxy, "collection", "build", "--force", "--output-path", FOLDER, HERE, stdout=subprocess.DEVNULL)
    [archive] = FOLDER.glob("tko-tko-*.tar.gz")
    environment = os.environ | {"ANSIBLE_COLLECTIONS_PATH": str(FOLDER), "ANSIBLE_HOME": str(FOLDER / "home")}
    # Only this folder, never a user's own configuration.
    (FOLDER / "ansible.cfg").write_text("[defaults]\n")
    if PROGRAM:
        environment["TKO_TEST_PROGRAM"] = str(pathlib.Path(PROGRAM).resolve())
    environment["ANSIBLE_CONFIG"] = str(FOLDER / "ansible.cfg")
    check(galaxy, "collection", "install", "--offline", "-p", FOLDER, archive, env=environment, stdout=subprocess.DEVNULL)
    return environment


def sanity(environment):
    """ansible-test sanity and ansible-lint. ansible-test wants a repository at the right path."""
    check(BIN / "pip", "install", "--quiet", LINT)
    copy = FOLDER / "sanity" / "ansible_collections" / "tko" / "tko"
    shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns("output", "__pycache__"))
    check("git", "init", "--quiet", copy)
    check("git", "-C", copy, "add", "--all")
    environment = environment | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    check(BIN / "ansible-lint", "--offline", "--profile", "production", cwd=copy, env=environment)
    check(BIN / "ansible-test", "sanity", "--venv", "--python", python, cwd=copy, env=environment)


def main():
    """Builds, installs and tests."""
    if "ansible" in os.environ.get("TKO_TEST_WITHOUT", "").split(","):
        print("skipped the tests of the Ansible collection: TKO_TEST_WITHOUT names ansible")
        return
    check(BIN / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", ANSIBLE)
    if "--install" in sys.argv:
        return
    environment = install()
    if "--sanity" in sys.argv:
        sanity(environment)
        return
    # The order of the tests counts: each continues where the one before ended.
    tests = [BIN / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=0", "--rootdir", HERE, HERE / "tests"]
    # A module that is killed leaves its files behind. If this program is killed, too, the next run
    # removes them.
    with tempfile.TemporaryDirectory(prefix="tmp-", dir=FOLDER) as temporary:
        check(*tests, *sys.argv[1:], cwd=FOLDER, env=environment | {"TMPDIR": temporary})


if __name__ == "__main__":
    main()
