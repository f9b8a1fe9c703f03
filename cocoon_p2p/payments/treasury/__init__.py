"""A node's side of the chain: its channels' contracts are watched, funded, claimed and closed.

rounds    whose turn it is                             sight      what a look means, pure
lookout   looks, and tells the accounts                funding    what to put in, and when, pure
deposits  puts it in once                              notebook   what is under way, on disk
claims    collects for a payee (claiming: how)         closes     brings a close to its end
watched, watchtower   the same for a payee that is away, with nothing but its vouchers
"""
