"""Published results, rerun. Each module here but ``commands`` and ``table`` is one of them.

A reproduction has ``about`` and ``takes``, a line each, and ``rows(say)``: its figures beside those that were
published, as :class:`hcsim.repro.table.Row`. It reads reference figures by :func:`hcsim.repro.table.reference` from
``tables``, where they ship, or from the folder that ``HCSIM_REFERENCE`` names; and data, which never ships, by a source
of :mod:`hcsim.traces` from ``HCSIM_DATA``.
"""
