"""The demo: five scenes on real prices, in which sagas go well, badly, and nowhere.

Everything in it is real but the money: the prices, the store, the exchange's books, the process
that is killed and the signal that kills it. What it claims at the end it has worked out from the
exchange's own books (`books_check`), never assumed.
"""
