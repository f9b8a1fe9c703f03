"""Money: what an exchange costs, what a voucher says, what two sides owe each other."""
