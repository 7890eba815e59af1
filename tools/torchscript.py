"""TorchScript archives without what they say of the machine that wrote them.

pip install torch
"""

import io
import zipfile

import torch


def save_script(module, path):
    """torch.jit.save, without the records that name the files of the machine that wrote it. Code is compressed, the rest is not, as there."""
    whole = io.BytesIO()
    torch.jit.save(module, whole)
    with zipfile.ZipFile(whole) as records, zipfile.ZipFile(path, "w") as kept:
        for record in records.infolist():
            # The first folder's name is that of the file.
            name = f"{path.stem}/{record.filename.partition('/')[2]}"
            if not name.endswith(".debug_pkl"):
                compression = zipfile.ZIP_DEFLATED if "/code/" in name else zipfile.ZIP_STORED
                kept.writestr(zipfile.ZipInfo(name), records.read(record), compression)
    torch.jit.load(path)
