# syntax=docker/dockerfile:1
FROM node:22-bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY native ./native
COPY src ./src
# The second command is for its exit code: an image without the native engine is not built.
RUN npm run build && node native/build.mjs --require
# onnxruntime-node carries the binaries of every platform; the image keeps its own.
RUN npm prune --omit=dev --no-audit --no-fund \
 && cd node_modules/onnxruntime-node/bin/napi-v6 \
 && find . -mindepth 2 -maxdepth 2 -type d ! -path "./linux/$(node -p process.arch)" -exec rm -r {} +

FROM node:22-bookworm-slim
# A balancer has five seconds to notice that this container leaves. Give `docker stop` more than both times: --timeout 20.
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080 VGG_SERVE_DRAIN_DELAY_MS=5000
WORKDIR /app
COPY LICENSE NOTICE package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist/src ./dist/src
COPY --from=build /app/native/build/*.node ./native/build/
COPY models ./models
# Owned by the service's user before a volume is mounted over it, so that a new named volume is writable.
RUN mkdir -p /home/node/.cache && chown node:node /home/node/.cache
USER node
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["node", "-e", "const { PORT, VGG_SERVE_TLS_CERT } = process.env; (VGG_SERVE_TLS_CERT ? https : http).get({ host: '127.0.0.1', port: PORT, path: '/health/ready', rejectUnauthorized: false }, (r) => process.exit(r.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
ENTRYPOINT ["node", "dist/src/cli.js"]
CMD ["serve"]
