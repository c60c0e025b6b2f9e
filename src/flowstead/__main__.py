"""`python -m flowstead` is the command line, too."""

import sys

from flowstead.cli import main

sys.exit(main())
