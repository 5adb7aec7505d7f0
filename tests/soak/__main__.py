"""`python -m tests.soak`: programs until so many updates are made; `--seed N` repeats those of one seed, and makes what fails smaller."""

from __future__ import annotations

import sys

from tests.soak.command import main

sys.exit(main())
