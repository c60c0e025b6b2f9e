"""The ledger: the machine-local SQLite database of one workspace, the only truth about its runs."""

from flowstead.ledger.ledger import Ledger
from flowstead.ledger.reader import LedgerReader
from flowstead.ledger.transaction import StepOutcome, Transaction

__all__ = ["Ledger", "LedgerReader", "StepOutcome", "Transaction"]
