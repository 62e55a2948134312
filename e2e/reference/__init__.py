"""A second implementation of the gateway protocol, written from its specification alone.

    profiles   a few small devices
    crypto     keys, proofs, the session key and the cipher     (sections 2, 4 and 10)
    wire       JSON and the three wire encodings                (section 3)
    rules      what a request must look like                    (section 5)
    client     a client that can misbehave                      (sections 4 to 6)
    gateway    a gateway that can misbehave                     (sections 4 to 6)

"Section" means a section of the specification.
"""
