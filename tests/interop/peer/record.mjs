// A proxy's record, checked by what protocols/records.md and protocols/README.md say and by nobody's code.

import { createHash, createPublicKey, verify } from 'node:crypto'
import { decode } from 'cborg'
import { peerIdFromString } from '@libp2p/peer-id'

const PROXY = 2
const SPKI_OF_ED25519 = Buffer.from('302a300506032b6570032100', 'hex')
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()

export function networkId (name) {
  return sha256('cocoon/network/1\0', name)
}

// The one key that a proxy announces itself under, as the bytes that are hashed.
export function shardKey (name, peerIdBytes) {
  return `/cocoon/${name}/proxies/${sha256(peerIdBytes)[0] % 16}`
}

// Throws unless the value may stand under the key; gives what of it the tests look at.
export function checkRecord (key, value, network) {
  const [, , name, peerText] = Buffer.from(key).toString().split('/')
  const strict = { useMaps: true, strict: true, rejectDuplicateMapKeys: true }
  const signed = decode(value, strict)
  const [body, signature] = [signed.get(1), signed.get(2)]
  const record = decode(body, strict)
  const peer = peerIdFromString(peerText)
  // An Ed25519 peer id is the key itself: 00 24, then a protobuf of 08 01 12 20 and 32 bytes.
  const der = Buffer.concat([SPKI_OF_ED25519, peer.toMultihash().bytes.subarray(6)])
  const publicKey = createPublicKey({ key: der, format: 'der', type: 'spki' })
  const covered = Buffer.concat([Buffer.from('cocoon/record/1\0'), networkId(network), body])
  const faults = {
    network: name !== network || Buffer.compare(networkId(network), record.get(1)) !== 0,
    peer: Buffer.compare(peer.toMultihash().bytes, record.get(2)) !== 0,
    role: record.get(3) !== PROXY,
    dates: record.get(8) <= Date.now() / 1000,
    signature: !verify(null, covered, publicKey, signature)
  }
  const fault = Object.keys(faults).find(each => faults[each])
  if (fault !== undefined) throw new Error(`record rejected: ${fault}`)
  return { peer: peerText, sequence: Number(record.get(9)), addresses: record.get(5) }
}
