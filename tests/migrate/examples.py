"""Configurations of Frigate: many cameras with credentials everywhere, and the keys of older releases."""

from __future__ import annotations

MANY = """
    version: 0.16-0
    mqtt:
      enabled: true
      host: 10.0.0.5
      user: nvr
      password: brokerSecret1
      client_id: frigate
      topic_prefix: frigate
      stats_interval: 60
      qos: 2
      tls_ca_certs: /certs/ca.crt
      tls_client_cert: /certs/client.crt
      tls_client_key: /certs/client.key
      tls_insecure: true
    environment_vars:
      FRIGATE_UNUSED: envSecret2
    logger:
      default: debug
      logs: {frigate.event: debug}
    detectors:
      coral: {type: edgetpu, device: usb}
    model: {path: /model.tflite, width: 320, height: 320}
    record: {enabled: true, retain: {days: 3}}
    snapshots: {enabled: true, clean_copy: true, crop: false, quality: 70, retain: {default: 14, objects: {person: 30}}}
    review: {alerts: {labels: [person]}}
    genai: {provider: ollama, api_key: genaiSecret3}
    detect: {enabled: true, fps: 5, stationary: {threshold: 50, interval: 10}}
    ffmpeg: {hwaccel_args: preset-vaapi, retry_interval: 10}
    go2rtc:
      rtsp: {username: admin, password: goSecret4}
      streams:
        Front:
          - rtsp://admin:front%40Secret5@10.0.0.9:554/h264?channel=1&subtype=1#backchannel=0
          - ffmpeg:Front#audio=opus
        pool: ffmpeg:http://10.0.0.10/flv?port=1935&stream=main&user=bob&password=poolSecret6#video=copy
        door: tapo://tapoSecret7@10.0.0.11
    objects:
      track: [person, car]
    cameras:
      Front:
        ffmpeg:
          inputs:
            - path: rtsp://127.0.0.1:8554/Front?video
              input_args: preset-rtsp-restream
              roles: [record, detect]
        onvif: {host: 10.0.0.9, user: admin, password: onvifSecret8}
      pool:
        ffmpeg:
          inputs:
            - path: rtsp://127.0.0.1:8554/pool
              roles: [detect]
        objects: {track: [person, dog]}
      door-bell:
        ffmpeg:
          inputs:
            - path: rtsp://127.0.0.1:8554/door
              roles: [detect]
      drive:
        detect: {fps: 10}
        ffmpeg:
          inputs:
            - path: rtsp://viewer:{FRIGATE_RTSP_PASSWORD}@10.0.0.12/main
              roles: [record]
            - path: rtsp://{FRIGATE_RTSP_USER}:{FRIGATE_RTSP_PASSWORD}@10.0.0.12/sub
              roles: [detect]
      shed:
        enabled: false
        ffmpeg:
          inputs:
            - path: rtsp://user:shedSecret9@10.0.0.13/live
              roles: [detect]
"""

OLD = """
    mqtt: {host: 127.0.0.1, port: 1884}
    rtmp: {enabled: false}
    ui: {live_mode: webrtc, use_experimental: false}
    birdseye: {mode: objects}
    record: {events: {required_zones: [steps], retain: {default: 10}}}
    detect: {max_disappeared: 25, min_initialized: 2, annotation_offset: 100}
    objects:
      filters:
        person: {min_area: 5000, max_area: 100000, min_score: 0.5, threshold: 0.7, mask: "0,0,640,0,640,100,0,100"}
    cameras:
      yard:
        live: {stream_name: yard}
        best_image_timeout: 60
        webui_url: http://10.0.0.9
        rtmp: {enabled: false}
        timestamp_style: {position: tl}
        ffmpeg:
          inputs:
            - path: rtsp://10.0.0.9/a
              roles: [rtmp, restream, record]
            - path: rtsp://10.0.0.9/b
              roles: [detect]
        detect: {width: 1280, height: 720, fps: 10}
        motion: {mask: "0,461,3,0,1279,0,1279,600", threshold: 25}
        zones:
          steps:
            coordinates: ["128,72", "640,72", "640,720", "128,720"]
            filters: {person: {min_area: 100}}
"""
