"""The client: finds proxies, asks, checks, and pays as the answer arrives."""

from cocoon_p2p.client.answer import Answer as Answer
from cocoon_p2p.client.answer import AnswerPart as AnswerPart
from cocoon_p2p.client.asked import Asked as Asked
from cocoon_p2p.client.choice import Offered as Offered
from cocoon_p2p.client.client import Client as Client
from cocoon_p2p.client.embeddings import Embeddings as Embeddings
from cocoon_p2p.client.messages import Message as Message
from cocoon_p2p.client.policy import Policy as Policy
from cocoon_p2p.client.purse import Budget as Budget
from cocoon_p2p.client.purse import PurseView as PurseView
from cocoon_p2p.client.purses import Purses as Purses
from cocoon_p2p.client.question import PriceQuote as PriceQuote
from cocoon_p2p.client.reception import Piece as Piece
from cocoon_p2p.client.request import parse_trust as parse_trust
from cocoon_p2p.client.wishes import Wishes as Wishes
