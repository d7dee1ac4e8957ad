"""``python -m fastrnn.benchmark``."""

from . import main

raise SystemExit(main())
