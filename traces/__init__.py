"""The trace sources that ship with hcsim, one file each, imported as ``hcsim.traces``."""

if __name__ != "hcsim.traces":
    raise ImportError("hcsim's traces are imported as hcsim.traces, not as plain traces; hcsim.strategies likewise.")
