"""The ledger: releases, operations with their journal, placements, savepoints, approvals, samples and replays."""
