"""The steps of a build inside a cluster: plan, assemble, seal, promote.

The contract stands in ``plimsoll.api.steps``. Each step can be repeated: what is there already is
found again by its digest.
"""
