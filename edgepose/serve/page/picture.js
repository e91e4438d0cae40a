// The live picture: MJPEG in an <img>, or video by WebRTC.

import { $, page, query } from "./base.js";

export function show_picture() {
  const picture = $("picture");
  if (page.paused || document.hidden) return;
  if (page.rtc) { show_video(); return; }
  const example = page.source === "example";
  picture.src = (example ? "/example_video" : "/camera_feed") + query({ source: page.source, n: Date.now() });
  picture.alt = `Live view of the ${page.source} with skeletons`;
}
export function hide_picture() {
  // a frozen copy stays where the stream was
  hang_up();
  const picture = $("picture");
  const copy = document.createElement("canvas");
  if (!picture.naturalWidth) return picture.removeAttribute("src");
  [copy.width, copy.height] = [picture.naturalWidth, picture.naturalHeight];
  copy.getContext("2d").drawImage(picture, 0, 0);
  copy.toBlob((blob) => { if (page.paused || document.hidden) picture.src = URL.createObjectURL(blob); }, "image/jpeg", 0.9);
}
export function forget_picture() {
  hang_up();
  $("video").srcObject = null;
  $("picture").removeAttribute("src");
}
async function show_video() {
  hang_up();
  const peer = page.peer = new RTCPeerConnection();
  peer.ontrack = (event) => { if (page.peer === peer) $("video").srcObject = new MediaStream([event.track]); };
  peer.onconnectionstatechange = () => {
    if (page.peer === peer && peer.connectionState === "failed") use_webrtc(false);
  };
  try {
    peer.addTransceiver("video", { direction: "recvonly" });
    await peer.setLocalDescription(await peer.createOffer());
    await new Promise((done) => { // all candidates go with the offer
      if (peer.iceGatheringState === "complete") done();
      else peer.onicegatheringstatechange = () => peer.iceGatheringState === "complete" && done();
      setTimeout(done, 2000);
    });
    const answer = await fetch("/api/v1/webrtc" + query({ source: page.source }), {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(peer.localDescription),
    });
    if (!answer.ok) throw new Error((await answer.json()).error);
    if (page.peer === peer) await peer.setRemoteDescription(await answer.json());
  } catch {
    if (page.peer === peer) use_webrtc(false);
  }
}
export function hang_up() {
  if (page.peer) page.peer.close();
  page.peer = null;
}
export function use_webrtc(on) {
  page.rtc = on;
  $("rtc").setAttribute("aria-pressed", on);
  $("video").hidden = !on;
  $("picture").hidden = on;
  if (on) $("picture").removeAttribute("src");
  else hang_up();
  show_picture();
}
