"""`python -m cocoon_p2p.cli`, for where the script is not on the path."""

from cocoon_p2p.cli import main

main()
