"""A node in one sealed file: its key, its wallet, its ledger of one moment, and what it was told to do.

    make_backup(loaded, out, passphrase)      while the node runs, or not
    restore(backup, folder, passphrase)       into an empty folder, never over anything

What the file looks like stands in `sealed`, what a restored ledger cannot know in `restoring`.
"""

from cocoon_p2p.backup.making import Backup as Backup
from cocoon_p2p.backup.making import make_backup as make_backup
from cocoon_p2p.backup.restoring import Restored as Restored
from cocoon_p2p.backup.restoring import restore as restore
