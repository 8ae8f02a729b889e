"""`perps doctor`: what is wrong in this place, and whether Deribit is as documented. Changes nothing."""
