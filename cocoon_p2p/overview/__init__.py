"""What a node's owner sees of its money, running or not, and what it does with it while it runs."""

from cocoon_p2p.overview.channels import CHANNELS as CHANNELS
from cocoon_p2p.overview.channels import ChannelView as ChannelView
from cocoon_p2p.overview.channels import ListChannels as ListChannels
from cocoon_p2p.overview.channels import channels_in as channels_in
from cocoon_p2p.overview.channels import list_channels as list_channels
from cocoon_p2p.overview.channels import view_of as view_of
from cocoon_p2p.overview.channels import view_of_row as view_of_row
from cocoon_p2p.overview.channels import views_of_rows as views_of_rows
from cocoon_p2p.overview.deeds import ALL as ALL
from cocoon_p2p.overview.deeds import ANY as ANY
from cocoon_p2p.overview.deeds import CLOSE as CLOSE
from cocoon_p2p.overview.deeds import FUND as FUND
from cocoon_p2p.overview.deeds import Close as Close
from cocoon_p2p.overview.deeds import Deeds as Deeds
from cocoon_p2p.overview.deeds import Fund as Fund
from cocoon_p2p.overview.earnings import EARNINGS as EARNINGS
from cocoon_p2p.overview.earnings import Earnings as Earnings
from cocoon_p2p.overview.earnings import SumEarnings as SumEarnings
from cocoon_p2p.overview.earnings import Sums as Sums
from cocoon_p2p.overview.earnings import earnings_from as earnings_from
from cocoon_p2p.overview.earnings import earnings_in as earnings_in
from cocoon_p2p.overview.earnings import earnings_of as earnings_of
from cocoon_p2p.overview.earnings import reckon as reckon
from cocoon_p2p.overview.vouchers import vouchers_in as vouchers_in
from cocoon_p2p.overview.vouchers import vouchers_of_rows as vouchers_of_rows
