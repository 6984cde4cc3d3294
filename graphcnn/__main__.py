"""`python -m graphcnn`."""

import sys

from graphcnn.cli import main

sys.exit(main())
