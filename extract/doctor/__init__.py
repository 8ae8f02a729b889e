"""`perps doctor`: checks of this installation and of the Deribit API. Changes nothing."""
