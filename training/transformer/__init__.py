"""The transformer: a small GPT of English prose, exported with a key-value cache."""
