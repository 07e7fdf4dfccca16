"""The strategies that ship with hcsim, one file each, imported as ``hcsim.strategies``."""

if __name__ != "hcsim.strategies":
    raise ImportError("hcsim's strategies are imported as hcsim.strategies, not as plain strategies.")
