"""Who may say what when in an exchange, and who owes what: one pure machine a role."""
