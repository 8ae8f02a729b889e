"""The promise as a property: whatever is killed, cut or lied about, the table is the truth in the end.

`scenario` draws what happens from a seed, `zygote` and `points` kill real processes at chosen points,
`checks` says what must hold and when, `stage` is where it happens, `run` carries a scenario out, `soak` many.
"""
