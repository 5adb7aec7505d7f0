"""The formats in which other libraries store optimizers' states in 8 bits, code for code: to read what they saved, and to go on so.

    store(adamw(1e-3), "torchao:8bit")          bitsandbytes:8bit, torchao:8bit, torchao:fp8, flash:8bit
    torchao.read("optimizer.pt", state, names)  bitsandbytes.read, torchao.read, flash.read

Not recommended for anything else: `"8bit"` takes no more bytes, moves fewer, and is nearer to float32. A scale is that of a block of 256
or 32 numbers, and

* of numbers that spread, the small ones of a block are lost. After 60 steps of AdamW on gradients whose sizes spread as exp(1.5 N(0, 1)),
  parameters are away from float32's, in units of how far these have moved, by

      16bit 0.004     8bit 0.07     bitsandbytes:8bit 0.3     torchao:8bit 3     flash:8bit 6     torchao:fp8 11

  because in the last three second moments become 0, and the step is divided by eps alone. (In the training of a small transformer, whose
  blocks of 32 spread less, flash:8bit was harmless);
* the largest number of a block must be known before its first code, so new moments are written and read once more. Bytes per parameter
  that one compiled step of AdamW moves, for a leaf of 4096 x 4096:

              float32    8bit    torchao:fp8    bitsandbytes:8bit    flash:8bit    torchao:8bit
      H100    28         16      22             36                   37            42
      v5e     28         22      100            262                  96            270

* a block that lies across devices is gathered, or under explicit sharding an error of JAX. Blocks lie along the last axis whose length is
  a multiple of theirs, so that leaves sharded along other axes alone need nothing.

Leaves of fewer than 4096 numbers, and those without such an axis, stay in float32. All of them round to nearest.

States that were saved
----------------------

`read` takes the arrays of a `state_dict` and gives a state of this library with them in the place of its own: entries with the
library's own codes, which a run goes on with. A file is read by `torch.load(weights_only=True)` (.pt, .pth, .bin; PyTorch is yours), or is
.safetensors or .npz: no code in it is run. In a flat file, or mapping, names are joined by "/": `state/0/exp_avg/codes`. What was stored in
blocks of the flattened array that lie across its rows, or in a last block that is not full, comes as plain float32 arrays, and goes on so:
`encode_state` stores it again.
"""

from typing import TYPE_CHECKING

from gradxform._lazy import attach

if TYPE_CHECKING:
    from gradxform.precision.formats import bitsandbytes as bitsandbytes
    from gradxform.precision.formats import flash as flash
    from gradxform.precision.formats import torchao as torchao
    from gradxform.precision.formats._torchao_8bit import TorchaoSigned as TorchaoSigned
    from gradxform.precision.formats._torchao_8bit import TorchaoUnsigned as TorchaoUnsigned
    from gradxform.precision.formats._torchao_fp8 import TorchaoFp8 as TorchaoFp8
    from gradxform.precision.formats.bitsandbytes import BitsandbytesSigned as BitsandbytesSigned
    from gradxform.precision.formats.bitsandbytes import BitsandbytesUnsigned as BitsandbytesUnsigned
    from gradxform.precision.formats.flash import FlashSigned as FlashSigned
    from gradxform.precision.formats.flash import FlashUnsigned as FlashUnsigned
else:
    TABLE = {
        ".": "bitsandbytes flash torchao",
        "._torchao_8bit": "TorchaoSigned TorchaoUnsigned",
        "._torchao_fp8": "TorchaoFp8",
        ".bitsandbytes": "BitsandbytesSigned BitsandbytesUnsigned",
        ".flash": "FlashSigned FlashUnsigned",
    }
    __getattr__, __dir__ = attach(__name__, TABLE)
