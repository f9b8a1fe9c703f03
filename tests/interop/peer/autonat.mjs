// js-libp2p with AutoNAT v2, on a machine whose router forwards a public address to loopback.
//
// Neither side asks for or dials a private address, so `forwarded` stands for the router: a dial to
// that address goes to the other one.

import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { autoNATv2 } from '@libp2p/autonat-v2'
import { identify } from '@libp2p/identify'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'

const tcpThrough = forwarded => components => {
  const transport = tcp()(components)
  const dial = transport.dial.bind(transport)
  transport.dial = (address, options) => {
    const [outside, behind] = Object.entries(forwarded).find(([outside]) => address.toString().startsWith(outside)) ?? []
    return dial(outside === undefined ? address : multiaddr(address.toString().replace(outside, behind)), options)
  }
  return transport
}

// `mapped` is a public [host, port] at which a router says that it lets others in.
export async function startAutonatNode ({ mapped, forwarded = {} }) {
  const { createLibp2p } = await import('libp2p')
  const node = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcpThrough(forwarded)],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionGater: { denyDialMultiaddr: () => false },
    services: { identify: identify(), autonat: autoNATv2() }
  })
  if (mapped !== undefined) {
    const [, , host, , port] = node.getMultiaddrs()[0].toString().split('/')
    node.components.addressManager.addPublicAddressMapping(host, Number(port), ...mapped)
  }
  return node
}

// Say of each address whether the node holds it for one that others reach.
export function verified (node) {
  const known = node.components.addressManager.getAddressesWithMetadata()
  return Object.fromEntries(known.map(each => [each.multiaddr.toString(), each.verified]))
}
