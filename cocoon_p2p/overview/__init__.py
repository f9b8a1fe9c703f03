"""What a node's owner sees of its money: from the running node, or from its ledger while it is down."""

from cocoon_p2p.overview.channels import CHANNELS as CHANNELS
from cocoon_p2p.overview.channels import ChannelView as ChannelView
from cocoon_p2p.overview.channels import ListChannels as ListChannels
from cocoon_p2p.overview.channels import channels_in as channels_in
from cocoon_p2p.overview.channels import list_channels as list_channels
from cocoon_p2p.overview.channels import views_of_rows as views_of_rows
from cocoon_p2p.overview.earnings import EARNINGS as EARNINGS
from cocoon_p2p.overview.earnings import Earnings as Earnings
from cocoon_p2p.overview.earnings import SumEarnings as SumEarnings
from cocoon_p2p.overview.earnings import Sums as Sums
from cocoon_p2p.overview.earnings import earnings_in as earnings_in
from cocoon_p2p.overview.earnings import earnings_of as earnings_of
from cocoon_p2p.overview.earnings import reckon as reckon
