"""Tool calls: how models write them, and how they are taken out of an answer as it comes.

    form_of(template)   which way of writing calls a model was trained on, by its chat template
    written(messages)   a conversation with calls in it, as templates expect it
    PieceCalls          an engine's pieces, with the calls taken out of their text
    CallReader          the pure machine behind it

An engine that reads calls offers tools for a model whose form is known, and for no other.
"""

from cocoon_p2p.inference.tools.call_reader import CallReader as CallReader
from cocoon_p2p.inference.tools.call_reader import Read as Read
from cocoon_p2p.inference.tools.forms import CallForm as CallForm
from cocoon_p2p.inference.tools.forms import form_of as form_of
from cocoon_p2p.inference.tools.piece_calls import PieceCalls as PieceCalls
from cocoon_p2p.inference.tools.piece_calls import new_call_id as new_call_id
from cocoon_p2p.inference.tools.writing import written as written
from cocoon_p2p.inference.tools.writing import written_tools as written_tools
