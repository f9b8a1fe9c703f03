"""What a person writes to run a node: one TOML file a role, checked whole.

Every mistake is reported at once, each with file, line, column, a caret and, for a
misspelt key, what was probably meant. Any key can be set from the environment instead:
`COCOON_WORKER__MODEL` is `model` in `[worker]`.
"""

from cocoon_p2p.config.loading import Loaded as Loaded
from cocoon_p2p.config.loading import load as load
from cocoon_p2p.config.roles import SLOTS_UNMEASURED as SLOTS_UNMEASURED
from cocoon_p2p.config.roles import BootstrapFile as BootstrapFile
from cocoon_p2p.config.roles import ClientFile as ClientFile
from cocoon_p2p.config.roles import ClientSection as ClientSection
from cocoon_p2p.config.roles import ModelSection as ModelSection
from cocoon_p2p.config.roles import ProxyFile as ProxyFile
from cocoon_p2p.config.roles import WorkerFile as WorkerFile
from cocoon_p2p.config.sections import AttestationSection as AttestationSection
from cocoon_p2p.config.sections import ChainSection as ChainSection
from cocoon_p2p.config.sections import DataSection as DataSection
from cocoon_p2p.config.sections import NetworkSection as NetworkSection
from cocoon_p2p.config.sections import PageSection as PageSection
from cocoon_p2p.config.sections import TrustSection as TrustSection
from cocoon_p2p.config.sections import WalletSection as WalletSection
