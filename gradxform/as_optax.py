"""gradxform under the name `optax`, for code that cannot be edited: a library, or many scripts.

    import gradxform.as_optax           before anything imports Optax
    import netket                       its `import optax` is gradxform

As a context manager it ends with the block; what was imported within goes on with gradxform:

    import gradxform.as_optax
    with gradxform.as_optax:
        import netket
    import optax                        Optax, if it is installed

`optax` and its public modules have gradxform's names. A private module, `optax._src.base` or `optax.contrib._sam`, answers with the public
thing of the name that it is asked for, and has nothing else. `optax.__version__` is that of the Optax whose names and numbers ours are; so
is `importlib.metadata.version("optax")`, unless Optax is installed: then it is that one's. There is no `optax.experimental`.

Raises   ImportError: Optax is loaded already. It cannot be replaced in what holds it, which the message lists.
"""

from __future__ import annotations

import sys
import types

from gradxform._optax_alias import install, uninstall


class AsOptax(types.ModuleType):
    """This module, which is a context manager."""

    def __enter__(self) -> None:
        install()

    def __exit__(self, *_: object) -> None:
        uninstall()


sys.modules[__name__].__class__ = AsOptax
install()
