"""Functions packed as they are deployed."""

import io
import zipfile

EXECUTABLE = 0o755 << 16
# As zip and cargo-lambda have it by default.
LEVEL = 6


def packed(bootstrap: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writing:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = EXECUTABLE
        writing.writestr(entry, bootstrap, zipfile.ZIP_DEFLATED, compresslevel=LEVEL)
    return archive.getvalue()
