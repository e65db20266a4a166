"""Videos rendered on this machine, whose events, questions and evidence are exactly known."""
