"""Cohorts: many scans, on this machine or on a cluster, each measured as the panel measures one.

:mod:`.finding` finds the cases, :mod:`.steps` does the work of one, :mod:`.running` keeps workers busy, :mod:`.tables` and
:mod:`.summary` show what came out.
"""
