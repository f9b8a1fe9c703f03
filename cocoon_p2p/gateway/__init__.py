"""OpenAI's API in front of a client: `cocoon gateway`."""
