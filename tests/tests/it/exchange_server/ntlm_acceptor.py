"""Signs connections in by NTLM before a server that knows Basic, as IIS does before Exchange, with other people's NTLM.

Arguments: CERTIFICATE.pem KEY.pem UPSTREAM_PORT BASIC_USER BASIC_PASSWORD LOG. NTLM_USER_FILE names who may sign in. Prints
the port that it listens at, and notes every sign-in that begins in the log. A connection is signed in once, and bound to this certificate; an answer without an integrity code
or without channel binding, or of NTLMv1, is refused, which the library alone would let pass.
"""

import base64
import hashlib
import http.client
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import spnego
from cryptography import x509
from spnego._ntlm_raw.messages import Authenticate, AvFlags, AvId, NTClientChallengeV2
from spnego.channel_bindings import GssChannelBindings

CERTIFICATE, KEY, UPSTREAM, USER, PASSWORD, LOG = sys.argv[1:]
DER = ssl.PEM_cert_to_DER_cert(open(CERTIFICATE).read())
HASH = x509.load_der_x509_certificate(DER).signature_hash_algorithm.name
BINDINGS = GssChannelBindings(application_data=b"tls-server-end-point:" + hashlib.new(HASH, DER).digest())
NO_BINDING = b"\0" * 16


def check(message):
    """Refuses what is weaker than the server asks for."""
    answer = Authenticate.unpack(message)
    response = answer.nt_challenge_response or b""
    if len(response) <= 24:
        raise ValueError("NTLMv1")
    pairs = NTClientChallengeV2.unpack(response[16:]).av_pairs
    if pairs.get(AvId.channel_bindings, NO_BINDING) == NO_BINDING:
        raise ValueError("no channel binding")
    if not pairs.get(AvId.flags, 0) & AvFlags.mic or not answer.mic:
        raise ValueError("no integrity code")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    context = None
    user = None

    def answer(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        scheme, _, token = (self.headers.get("authorization") or "").partition(" ")
        if self.user is None:
            if scheme.lower() != "ntlm" or not token:
                return self.deny("NTLM")
            message = base64.b64decode(token)
            try:
                if message[8:9] == b"\1":
                    with open(LOG, "a") as log:
                        log.write("sign-in\n")
                    self.context = spnego.server(
                        protocol="ntlm", channel_bindings=BINDINGS, options=spnego.NegotiateOptions.use_ntlm
                    )
                else:
                    check(message)
                challenge = self.context.step(message)
            except Exception as refused:
                sys.stderr.write(f"refused: {refused!r}\n")
                self.context = None
                return self.deny("NTLM")
            if not self.context.complete:
                return self.deny("NTLM " + base64.b64encode(challenge).decode())
            self.user = self.context.client_principal
        upstream = http.client.HTTPSConnection(
            "127.0.0.1", int(UPSTREAM), context=ssl._create_unverified_context()
        )
        kept = {
            name: value
            for name, value in self.headers.items()
            if name.lower() not in ("authorization", "connection", "host", "content-length")
        }
        kept["Authorization"] = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        upstream.request(self.command, self.path, body, kept)
        reply = upstream.getresponse()
        content = reply.read()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.getheader("content-type") or "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = answer

    def deny(self, challenge):
        self.send_response(401)
        self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(CERTIFICATE, KEY)
server.socket = tls.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
