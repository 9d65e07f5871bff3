// An OpenID provider for the tests: `node openid_provider.mjs FOLDER`, where FOLDER holds
// node_modules/oidc-provider. It prints its issuer and serves until its standard input ends.
//
// Everybody may sign in by any name; everybody is `pki-admin`. Access tokens are JWTs for `lamassu`
// and so short that each one is renewed before its second use.
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

const library = join(process.argv[2], 'node_modules', 'oidc-provider', 'lib', 'index.js');
const { default: Provider } = await import(pathToFileURL(library));

const server = createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'lamassu-cli',
    application_type: 'native',
    token_endpoint_auth_method: 'none',
    response_types: ['code'],
    redirect_uris: ['http://127.0.0.1/callback'],
    grant_types: [
      'authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code',
    ],
  }],
  extraTokenClaims: () => ({ roles: ['pki-admin'] }),
  issueRefreshToken: () => true,
  features: {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'urn:lamassu',
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: 'offline_access',
        audience: 'lamassu',
        accessTokenFormat: 'jwt',
        accessTokenTTL: 31,
      }),
    },
  },
});
server.on('request', provider.callback());
process.stdin.resume().on('end', () => process.exit());
console.log(issuer);
