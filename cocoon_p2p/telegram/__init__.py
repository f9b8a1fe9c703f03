"""The kit for Telegram bots whose answers are bought on the network, on aiogram 3."""
