#!/usr/bin/env python3
"""Builds the wheel of this package, installs it into a virtual environment, and tests it. At the same
time it tests the Ansible collection, which uses the wheel, with `ansible/test.py`.

`cargo xtask test` runs it. It needs a Rust toolchain, Python 3.10 or newer with venv, and packages from
pip. It compiles into the target folder of the workspace, with the profile of the tests.

    python3 tko-python/test.py [--profile NAME] [PYTEST ARGUMENTS]
"""

import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target")).resolve()
FOLDER = TARGET / "python"
ANSIBLE = HERE.parent / "ansible" / "test.py"
PYTHON = FOLDER / "venv" / "bin" / "python"
# A `tko` for the tests of plugins under `tko up`, relative to the folder where this was started.
PROGRAM = os.environ.get("TKO_TEST_PROGRAM")
TOOLS = ["maturin>=1.16,<2", "pytest>=8,<10", "mypy>=1.18,<3", "trustme>=1.2,<2"]


def run(*command, **options):
    """Runs a command; returns its exit code."""
    print("$", *command, flush=True)
    return subprocess.run([str(part) for part in command], check=False, **options).returncode


def check(*command, **options):
    """Runs a command; ends the program if it fails."""
    code = run(*command, **options)
    if code != 0:
        sys.exit(code)


def install_tools():
    """Makes the virtual environment. Without tools there are no tests."""
    if not PYTHON.exists():
        check(sys.executable, "-m", "venv", PYTHON.parent.parent)
    if run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *TOOLS) != 0:
        sys.exit(f"pip cannot install {', '.join(TOOLS)}")


def main():
    """Builds, installs and tests."""
    if sys.version_info < (3, 10):
        print("skipped all tests of tko-python: they need Python 3.10 or newer")
        return
    arguments = sys.argv[1:]
    profile = "dev"
    if arguments[:1] == ["--profile"]:
        profile, arguments = arguments[1], arguments[2:]
    install_tools()
    wheels = FOLDER / "wheels"
    for old in wheels.glob("tko-*.whl"):
        old.unlink()
    environment = os.environ | {"CARGO_TARGET_DIR": str(TARGET), "PATH": f"{PYTHON.parent}:{os.environ['PATH']}"}
    check(
        PYTHON.parent / "maturin",
        "build",
        "--profile",
        profile,
        "--out",
        wheels,
        "--interpreter",
        PYTHON,
        cwd=HERE,
        env=environment,
    )
    [wheel] = wheels.glob("tko-*.whl")
    check(PYTHON, "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", wheel)
    # In another folder than the sources, so that the installed package is tested.
    work = FOLDER / "work"
    work.mkdir(exist_ok=True)
    environment["PATH"] = f"{PYTHON.parent}:{os.environ['PATH']}"
    if PROGRAM:
        environment["TKO_TEST_PROGRAM"] = str(pathlib.Path(PROGRAM).resolve())
    tests = [PYTHON, "-m", "pytest", "-q", "-rs", "--durations=5", "-p", "no:cacheprovider", "--rootdir", HERE, "-c", HERE / "pyproject.toml"]
    if arguments:
        check(*tests, HERE / "tests", *arguments, cwd=work, env=environment)
        return
    # Installed before the tests start, because they use the same virtual environment.
    check(PYTHON, ANSIBLE, "--install")
    with tempfile.TemporaryFile("w+") as output:
        # The tests of the collection mostly use one processor, so others run at the same time.
        ansible = subprocess.Popen([PYTHON, ANSIBLE], stdout=output, stderr=subprocess.STDOUT)
        try:
            check(*tests, HERE / "tests", cwd=work, env=environment)
            check(*tests, "--doctest-modules", "--pyargs", "tko", cwd=work, env=environment)
            check(PYTHON, "-m", "mypy", "--strict", "--cache-dir", FOLDER / "mypy", "-p", "tko", cwd=work)
            check(PYTHON, "-m", "mypy.stubtest", "tko", "--allowlist", HERE / "tests" / "stubtest.allow", cwd=work)
        finally:
            code = ansible.wait()
            output.seek(0)
            print("$", PYTHON, ANSIBLE)
            print(output.read(), flush=True)
    if code != 0:
        sys.exit(code)


if __name__ == "__main__":
    main()
