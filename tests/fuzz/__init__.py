"""Coverage-guided fuzzing of everything that reads strangers' files; docs/reliability.md says how to run it."""
