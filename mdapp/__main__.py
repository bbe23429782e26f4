"""`python -m mdapp` is `mdapp`."""
import sys

from mdapp.cli import main

sys.exit(main())
